const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15_000;

/** The next wait before a reconnect: doubles up to a ceiling, with jitter so that many tabs spread. */
export function backoff(attempt: number, random: () => number = Math.random): number {
  const ceiling = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt);
  return ceiling * (0.5 + 0.5 * random());
}

/** Close codes after which trying again cannot help: signed out, forbidden, gone, another version. */
export function isFinal(code: number): boolean {
  return code === 4401 || code === 4403 || code === 4404 || code === 4406;
}

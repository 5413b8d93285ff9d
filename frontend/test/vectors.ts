import { fileURLToPath } from 'node:url';

/** The folder of the Python tests, whose vectors both sides share. */
export const VECTORS = fileURLToPath(new URL('../../tests', import.meta.url));

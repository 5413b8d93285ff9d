/** One file over the tus protocol. A file of one chunk is a single request. */
import { t } from '../i18n';
import { DetailedError, Upload } from 'tus-js-client';
import { csrfToken } from '../pages/csrf';
import { markOf } from './mark';
import type { Item, Transport, Trouble } from './sending';

export const CHUNK_BYTES = 8 * 1024 * 1024;
const NO_ROOM = 507;
const PASSING = [408, 409, 423, 429];
const SIGNED_OUT = t('You are signed out. Sign in again in another tab, then continue here.');

function detailOf(body: string): string {
  try {
    const said = (JSON.parse(body) as { detail?: unknown }).detail;
    return typeof said === 'string' ? said : '';
  } catch {
    return '';
  }
}

/** What an answer of the server means for the upload. */
export function troubleOf(status: number, body: string): Trouble {
  const detail = detailOf(body);
  if (status === NO_ROOM) return { kind: 'stop', reason: detail || t('The server has no room for more files.') };
  if (status === 0 || status >= 500 || PASSING.includes(status)) return { kind: 'lost' };
  if (status === 401 || status === 403) return { kind: 'stop', reason: status === 401 ? SIGNED_OUT : detail || SIGNED_OUT };
  return { kind: 'file', reason: detail || t('The server refused this file ({status}).', { status }) };
}

export function tusTransport(filesUrl: string): Transport {
  return (item, on) => {
    let upload: Upload | undefined;
    let aborted = false;
    void markOf(item.file).then((mark) => {
      if (aborted) return;
      upload = uploadOf(filesUrl, item, mark, on);
      upload.start();
    });
    return {
      abort: () => {
        aborted = true;
        void upload?.abort();
      },
    };
  };
}

function uploadOf(filesUrl: string, item: Item, mark: string, on: Parameters<Transport>[1]): Upload {
  const upload = new Upload(item.file, {
    endpoint: filesUrl,
    ...(item.url ? { uploadUrl: item.url } : {}),
    metadata: { filename: item.path, modified: mark },
    headers: { 'X-CSRFToken': csrfToken(), Accept: 'application/json' },
    chunkSize: CHUNK_BYTES,
    uploadDataDuringCreation: true,
    storeFingerprintForResuming: false,
    retryDelays: null,
    onUploadUrlAvailable: () => {
      if (upload.url) item.url = upload.url;
    },
    onProgress: on.progress,
    onSuccess: on.done,
    onError: (error) => {
      if (!(error instanceof DetailedError)) {
        on.trouble({ kind: 'file', reason: t('The file cannot be read. Was it changed or moved meanwhile?') });
        return;
      }
      const answer = error.originalResponse;
      on.trouble(troubleOf(answer?.getStatus() ?? 0, answer?.getBody() ?? ''));
    },
  });
  return upload;
}

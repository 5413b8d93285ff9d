/// <reference lib="webworker" />
/** The Worker around the slice stream: the page gets finished pixels (transferred, not copied). */
import { initCodec } from './codec';
import { StreamClient, type ToWorker } from './stream-client';

const scope = self as unknown as DedicatedWorkerGlobalScope;
const client = new StreamClient((message, transfer = []) => scope.postMessage(message, transfer));

scope.onmessage = async (event: MessageEvent<ToWorker>) => {
  // Messages are handled in the order they came: those after `start` wait for the codec as well.
  await initCodec();
  client.handle(event.data);
};

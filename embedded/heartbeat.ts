import { Worker } from 'node:worker_threads'
import { SECOND } from '../core/clock.ts'

/** A tenth of the time after which an untouched lock is stale. */
export const BEAT_MS: number = 2 * SECOND

/** A file of its own would have to be found by the thread, wherever a bundler has put it. */
const THREAD = `
const { readFileSync, utimesSync } = require('node:fs')
const { path, text, everyMs } = require('node:worker_threads').workerData
setInterval(() => {
  try {
    const now = new Date()
    if (readFileSync(path, 'utf8') === text) utimesSync(path, now, now)
  } catch {
    // A disk may be away for a moment: the next one may get through.
  }
}, everyMs)`

/**
 * Touches the file from time to time while it says `text`, so that other machines see that its process lives. It writes
 * nothing, so a full disk does not stop it. It does so in a thread of its own, because a statement of PGlite holds the main
 * one for as long as it takes. Does not keep the process alive.
 * @returns stops it
 */
export function startHeartbeat(path: string, text: string): () => Promise<void> {
  const workerData = { path, text, everyMs: BEAT_MS }
  const thread = new Worker(THREAD, { eval: true, execArgv: [], workerData })
  // Only the proof for other machines is lost: the process must not end because of it.
  thread.on('error', () => {})
  thread.unref()
  return async () => void (await thread.terminate())
}

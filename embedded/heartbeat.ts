import { Worker } from 'node:worker_threads'
import { SECOND } from '../core/clock.ts'

/** A tenth of the time after which an untouched lock is stale. */
export const BEAT_MS: number = 2 * SECOND

/** The thread's source as text: a bundler may move a separate file to a place that the thread cannot find. */
const THREAD = `
const { readFileSync, utimesSync } = require('node:fs')
const { path, text, everyMs } = require('node:worker_threads').workerData
setInterval(() => {
  try {
    const now = new Date()
    if (readFileSync(path, 'utf8') === text) utimesSync(path, now, now)
  } catch {
    // A disk may be unavailable for a moment: the next heartbeat may succeed.
  }
}, everyMs)`

/**
 * Touches the file regularly while it contains `text`, so that other machines see that its process is alive. It writes nothing,
 * so a full disk does not stop it. It uses a thread, because a statement of PGlite blocks the main one for its whole duration.
 * Does not keep the process alive.
 * @returns a function that stops it
 */
export function startHeartbeat(path: string, text: string): () => Promise<void> {
  const workerData = { path, text, everyMs: BEAT_MS }
  const thread = new Worker(THREAD, { eval: true, execArgv: [], workerData })
  // Only the proof for other machines is lost; the process must not end because of it.
  thread.on('error', () => {})
  thread.unref()
  return async () => void (await thread.terminate())
}

/**
 * Entry point of a container. Handles signals before it loads other modules: process 1 ignores a signal without a
 * handler, so a SIGTERM during loading would be lost, and the container killed in the middle of its work.
 */
let early: NodeJS.Signals | undefined
const keep = (signal: NodeJS.Signals): void => void (early = signal)
process.on('SIGTERM', keep)
process.on('SIGINT', keep)

const { run } = await import('./run.ts')
await run(() => {
  process.off('SIGTERM', keep)
  process.off('SIGINT', keep)
  if (early !== undefined) process.kill(process.pid, early)
})

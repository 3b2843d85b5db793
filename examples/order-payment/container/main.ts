/**
 * The program of a container. It takes signals before it loads anything: process 1 is not ended by one that it has no handler
 * for, so a stop that came meanwhile would be lost, and the container killed in the middle of its work.
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

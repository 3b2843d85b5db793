/** Faults that PostgreSQL can have, with any data. */
import type { Stage } from './stage.ts'

/** SIGKILL, or an immediate shutdown: both end all connections and leave the log to be recovered. */
export async function crashed(stage: Stage, how: 'killed' | 'stopped at once', awayMs: number): Promise<void> {
  stage.note('fault', `PostgreSQL is ${how}`)
  if (how === 'stopped at once') await quit(stage.server.pid)
  await stage.server.kill()
  await stage.pause(awayMs)
  await stage.server.start()
  stage.note('fault', 'PostgreSQL is started')
}

/** `pg_ctl stop -m immediate` sends this signal. */
export async function quit(pid: number): Promise<void> {
  process.kill(pid, 'SIGQUIT')
  const deadline = performance.now() + 5_000
  while (isThere(pid) && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5))
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/**
 * Opens a transaction that has written and stays open until the returned call: it holds up vacuum, and nothing else.
 */
export async function longTransaction(stage: Stage): Promise<() => Promise<void>> {
  const end = Promise.withResolvers<void>()
  const began = Promise.withResolvers<void>()
  const open = stage.postgres(async (client) => {
    await client.query('CREATE TABLE IF NOT EXISTS foreign_work (n int)')
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    await client.query('INSERT INTO foreign_work VALUES (1)')
    began.resolve()
    await end.promise
    await client.query('ROLLBACK')
  })
  await Promise.race([began.promise, open])
  return async () => {
    end.resolve()
    await open
  }
}

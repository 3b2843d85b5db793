/**
 * Checks whether a listening connection receives notifications of others. Behind a pooler in transaction mode it does not:
 * `LISTEN` is sent on any free connection of the pool, and its notifications reach no client.
 */
import { randomUUID } from 'node:crypto'
import { type Clock, SECOND } from '../clock.ts'
import { finishesWithin } from '../time-limit.ts'
import type { PgListenConnection } from './listen-connection-type.ts'

const HEARS_WITHIN_MS = 5 * SECOND

/**
 * Runs only behind a pooler, which gives its clients its own process ids: a second connection then sends a notification, because
 * the listening one would receive its own even there.
 * @returns false only if the notification was sent and not received; true also if that cannot be determined
 */
export async function hearsNotifications(
  connection: PgListenConnection,
  connect: () => PgListenConnection,
  clock: Clock,
): Promise<boolean> {
  const { processID } = connection
  if (processID === undefined || processID === null || (await backendOf(connection)) === processID) return true
  const channel = `concordat_hears_${randomUUID()}`
  const heard = new Promise<void>((resolve) => {
    connection.on('notification', (message) => {
      if (message.channel === channel) resolve()
    })
  })
  await connection.query(`LISTEN "${channel}"`)
  try {
    await notify(connect(), channel)
    return await finishesWithin(clock, HEARS_WITHIN_MS, heard)
  } finally {
    await connection.query(`UNLISTEN "${channel}"`)
  }
}

async function notify(other: PgListenConnection, channel: string): Promise<void> {
  other.on('error', () => {})
  try {
    await other.connect()
    await other.query(`NOTIFY "${channel}"`)
  } finally {
    await other.end().catch(() => {})
  }
}

async function backendOf(connection: PgListenConnection): Promise<unknown> {
  const result = (await connection.query('SELECT pg_backend_pid() AS pid')) as {
    readonly rows?: readonly { readonly pid?: unknown }[] | undefined
  }
  return result?.rows?.[0]?.pid
}

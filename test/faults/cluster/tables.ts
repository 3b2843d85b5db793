/**
 * Tables that the processes of a run write, and its judge reads. No table has a unique key that would hide a doubling.
 */
import { defineChannel } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import pg from 'pg'
import { z } from 'zod'
import { PARTITIONS, SQL_MS } from './settings.ts'

const Parcel = z.object({ key: z.string(), n: z.number().int() })
export type Parcel = z.infer<typeof Parcel>

/** @param partitions what the topic has by now: who begins with another count is refused */
export const parcelsIn = (partitions: number) =>
  defineChannel('cluster.parcels', { payload: Parcel, key: ({ key }) => key, partitions, groups: ['work'] })

export const parcels = parcelsIn(PARTITIONS)

/** Service name of the processes that send and handle. */
export const SERVICE = 'post'
/** Schema of their outbox and inbox; the bank has others in the same database. */
export const SCHEMA = 'post'

/** Opens a pool with time limits on every call: it gives up a frozen server. */
export function poolAt(connectionString: string, max: number): pg.Pool {
  const limits = { connectionTimeoutMillis: SQL_MS, query_timeout: SQL_MS, keepAlive: true }
  const pool = new pg.Pool({ connectionString, max, ...limits })
  pool.on('error', () => {})
  return pool
}

export async function createTables(sql: SqlClient): Promise<void> {
  await sql.query('CREATE TABLE parcel (key text, n int, PRIMARY KEY (key, n))')
  await sql.query('CREATE TABLE handled (number bigserial PRIMARY KEY, key text, n int, worker text)')
  await sql.query(
    'CREATE TABLE fenced (number bigserial PRIMARY KEY, resource text, token bigint, worker text, write text)',
  )
}

/** A write that the fence let through. */
export interface Fenced {
  readonly resource: string
  readonly token: string
  readonly worker: string
  readonly write: string
}

/** Rows that a run left in its database. */
export interface Tables {
  readonly sent: readonly Parcel[]
  /** Handled parcels, in the order of their effects. */
  readonly handled: readonly Parcel[]
  /** Fenced writes, in the order of acceptance. */
  readonly fenced: readonly Fenced[]
}

export async function readTables(pool: pg.Pool): Promise<Tables> {
  const [sent, handled, fenced] = await Promise.all([
    pool.query<Parcel>('SELECT key, n FROM parcel ORDER BY key, n'),
    pool.query<Parcel>('SELECT key, n FROM handled ORDER BY number'),
    pool.query<Fenced>('SELECT resource, token::text, worker, write FROM fenced ORDER BY number'),
  ])
  return { sent: sent.rows, handled: handled.rows, fenced: fenced.rows }
}

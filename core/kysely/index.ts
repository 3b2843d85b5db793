/**
 * `SqlClient` on Kysely with a PostgreSQL dialect (`pg` or PGlite), for those whose transactions are Kysely's:
 *
 *     await db.transaction().execute(async (trx) => {
 *       await trx.updateTable('orders').set({ state: 'placed' }).where('id', '=', id).execute()
 *       await outbox.add(kyselyTransaction(trx), orderPlaced, order)
 *     })
 *
 * Kysely is loaded with the first statement. Our statements run without the caller's plugins: one that renames columns
 * (CamelCasePlugin) would rename ours too.
 * A `pg.Pool` under Kysely needs `error` listeners of its own, or a connection that dies ends the process:
 *
 *     pool.on('error', log).on('connect', (connection) => connection.on('error', log))
 *
 * @module
 */
export { kyselyClient, kyselyTransaction } from './kysely-client.ts'

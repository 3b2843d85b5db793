/** A lock, and a fence that refuses the late write of a former holder. Run: npm run example 05 */
import { PGlite } from '@electric-sql/pglite'
import { pgliteClient } from 'concordat/core/pglite'
import { createFence, type LockError } from 'concordat/locks'
import { memoryLocks } from 'concordat/memory'

const database = await PGlite.create()
const sql = pgliteClient(database)
const fence = createFence({ sql })
await fence.migrate()
await sql.query('CREATE TABLE stock (sku text PRIMARY KEY, quantity int NOT NULL)')
await sql.query(`INSERT INTO stock VALUES ('apple', 10)`)

const locks = memoryLocks() // between processes: redisLocks({ url: 'redis://127.0.0.1:6379' })

async function write(token: number, quantity: number): Promise<void> {
  await sql.transaction(async (tx) => {
    await fence.check(tx, 'sku:apple', token) // refuses a token older than the newest one seen
    await tx.query(`UPDATE stock SET quantity = $1 WHERE sku = 'apple'`, [quantity])
  })
}

let lateToken = 0
async function sell(count: number): Promise<void> {
  await locks.using('sku:apple', { ttlMs: 10_000, waitMs: 5_000 }, async (lease) => {
    const { rows } = await sql.query<{ quantity: number }>(`SELECT quantity FROM stock WHERE sku = 'apple'`)
    const left = (rows[0]?.quantity ?? 0) - count
    await write(lease.token, left)
    console.log(`sold ${count}, ${left} left`)
    if (lateToken === 0) lateToken = lease.token
  })
}
await Promise.all([sell(1), sell(2), sell(3)]) // first come, first served

// A process that was paused in its critical section resumes after another process has acquired the lock.
await write(lateToken, 9).catch((error: LockError) => console.log(error.code))
await locks.close()
await database.close()

// Prints:
// sold 1, 9 left
// sold 2, 7 left
// sold 3, 4 left
// locks.fence_rejected

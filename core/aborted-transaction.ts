/**
 * Tells whether a failed statement has aborted the transaction: every further statement then fails, and the server answers COMMIT
 * with ROLLBACK. In a database without this state, no transaction is aborted.
 */
export async function isAborted(tx: { query(text: string): Promise<unknown> }): Promise<boolean> {
  try {
    await tx.query('SELECT 1')
    return false
  } catch {
    return true
  }
}

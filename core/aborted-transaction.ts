/**
 * Whether a failed statement has aborted the transaction, so that the server would answer COMMIT with ROLLBACK: then any statement fails.
 * Where a database has no such state, none is aborted.
 */
export async function isAborted(tx: { query(text: string): Promise<unknown> }): Promise<boolean> {
  try {
    await tx.query('SELECT 1')
    return false
  } catch {
    return true
  }
}

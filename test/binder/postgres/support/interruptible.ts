import type { SqlClient } from 'concordat/core'

/** Client whose server can be down: statements fail as on a refused connection, and none of them is executed. */
export function interruptible(inner: SqlClient): { sql: SqlClient; interrupt: () => void; recover: () => void } {
  let isAway = false
  const refuse = (): void => {
    if (isAway) throw Object.assign(new Error('connect ECONNREFUSED (made by the test)'), { code: 'ECONNREFUSED' })
  }
  const sql: SqlClient = {
    exclusive: inner.exclusive,
    inMemory: inner.inMemory,
    isInTransaction: inner.isInTransaction,
    connections: inner.connections,
    async query(text, parameters) {
      refuse()
      return inner.query(text, parameters)
    },
    async transaction(work) {
      refuse()
      return inner.transaction(work)
    },
  }
  return {
    sql,
    interrupt: () => {
      isAway = true
    },
    recover: () => {
      isAway = false
    },
  }
}

/**
 * The vault of the south: a MariaDB of its own, where the participants of XA of that bank prepare. Their barrier and their outbox
 * stay in the bank's PostgreSQL, so a transfer by XA spans both kinds of server.
 */

import { type MysqlConnection, type MysqlPool, type MysqlTransaction, mysqlResource } from '@concordat/mysql'
import type { SinkBinding } from 'concordat/binder'
import { Refusal } from 'concordat/saga'
import { xaParticipant } from 'concordat/saga/xa'
import mysql from 'mysql2/promise'
import { type PrivateServer, startServer } from '../../support/servers/index.ts'
import { type Effect, isClosed, MOVES, type Move, type Side } from './bank.ts'
import type { OnStep } from './steps.ts'
import type { Account, ForeignMove } from './tables.ts'

const TABLES = [
  'CREATE TABLE account (id varchar(60) PRIMARY KEY, balance int NOT NULL, free int NOT NULL) ENGINE=InnoDB',
  'CREATE TABLE foreign_move (account varchar(60) NOT NULL, cents int NOT NULL) ENGINE=InnoDB',
  `CREATE TABLE effect (number bigint AUTO_INCREMENT PRIMARY KEY, \`key\` varchar(200) NOT NULL, operation varchar(20) NOT NULL,
     worker varchar(60) NOT NULL) ENGINE=InnoDB`,
]
/** Strangers give up sooner than a participant. The server counts in whole seconds. */
const STRANGER_WAITS_S = 0

/** The server, and the hand that reads its tables. */
export class Vault {
  readonly server: PrivateServer
  readonly #pool: mysql.Pool

  private constructor(server: PrivateServer) {
    this.server = server
    this.#pool = openPool(server.url, 8)
  }

  static async open(signal: AbortSignal): Promise<Vault> {
    const vault = new Vault(await startServer('mariadb', { signal }))
    try {
      for (const text of TABLES) await vault.#pool.query(text)
      await mysqlResource(vault.#pool).migrate()
      return vault
    } catch (error) {
      await vault.close()
      throw error
    }
  }

  async close(): Promise<void> {
    await this.#pool.end().catch(() => {})
    await this.server.stop()
  }

  async pay(accounts: readonly string[], cents: number): Promise<void> {
    for (const id of accounts) await this.#pool.execute('INSERT INTO account VALUES (?, ?, ?)', [id, cents, cents])
  }

  /** Names of the prepared transactions. */
  async prepared(): Promise<readonly string[]> {
    return (await this.#rows<{ data: string | Buffer }>('XA RECOVER')).map(({ data }) => String(data))
  }

  effects(): Promise<readonly Effect[]> {
    return this.#rows('SELECT `key`, operation, worker FROM effect ORDER BY number')
  }

  accounts(): Promise<readonly Account[]> {
    return this.#rows('SELECT id, balance, free FROM account ORDER BY id')
  }

  foreign(): Promise<readonly ForeignMove[]> {
    return this.#rows('SELECT account, CAST(sum(cents) AS int) AS cents FROM foreign_move GROUP BY account')
  }

  /** A stranger's transaction, who keeps its rows until `hold` resolves. */
  async move(from: string, to: string, cents: number, hold: () => Promise<unknown>): Promise<void> {
    const connection = await this.#pool.getConnection()
    try {
      await connection.query(`SET SESSION innodb_lock_wait_timeout = ${STRANGER_WAITS_S}`)
      await connection.beginTransaction()
      for (const move of [
        { account: from, cents: -cents },
        { account: to, cents },
      ]) {
        const [answer] = await connection.execute(ADD, [move.cents, move.cents, move.account, move.cents])
        if ((answer as mysql.ResultSetHeader).affectedRows === 0) throw new Error(`${move.account} has too little`)
        await connection.execute('INSERT INTO foreign_move VALUES (?, ?)', [move.account, move.cents])
      }
      await hold()
      await connection.commit()
      connection.release()
    } catch (error) {
      connection.destroy()
      throw error
    }
  }

  async #rows<Row>(text: string): Promise<readonly Row[]> {
    const [rows] = await this.#pool.query(text)
    return rows as Row[]
  }
}

const ADD = 'UPDATE account SET balance = balance + ?, free = free + ? WHERE id = ? AND free + ? >= 0'

function openPool(uri: string, connectionLimit: number): mysql.Pool {
  return mysql.createPool({ uri, connectionLimit, gracefulEnd: true })
}

/** Participant of the vault by XA; `onStep` sees each statement that leaves this process. */
export function vaultParticipant(
  url: string,
  {
    onStep,
    worker,
    ...side
  }: Side & { readonly onStep: OnStep; readonly worker: string; readonly lockTimeoutMs: number },
): SinkBinding {
  const resource = mysqlResource(steppedPool(openPool(url, 20), onStep))
  return xaParticipant(MOVES.south.xa, { ...side, resource }, async (move, { tx, key }) => {
    await add(move, tx)
    await tx.query('INSERT INTO effect (`key`, operation, worker) VALUES (?, ?, ?)', [key, 'do', worker])
  })
}

async function add(move: Move, tx: MysqlTransaction): Promise<void> {
  const { account, cents } = move
  if (isClosed(move)) throw new Refusal('bank.closed', 'the account is closed')
  const { rowCount } = await tx.query(ADD, [cents, cents, account, cents])
  if (rowCount === 0) throw new Refusal('bank.no_funds', `${account} has not got ${-cents}`)
}

type Statement = Parameters<MysqlConnection['query']>[0]

/** Wraps the pool with a hook for each of its steps. */
function steppedPool(pool: MysqlPool, onStep: OnStep): MysqlPool {
  return { getConnection: async () => steppedConnection(await pool.getConnection(), onStep) }
}

function steppedConnection(connection: MysqlConnection, onStep: OnStep): MysqlConnection {
  const looked =
    (run: (statement: Statement, values?: never[]) => Promise<readonly [unknown, unknown]>) =>
    async (statement: Statement, values?: unknown[]): Promise<readonly [unknown, unknown]> => {
      const what = stepOf(typeof statement === 'string' ? statement : statement.sql)
      await onStep(what, 'before')
      const answer = await run(statement, values as never[] | undefined)
      await onStep(what, 'after')
      return answer
    }
  return new Proxy(connection, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      const method = value.bind(target) as (statement: Statement) => Promise<readonly [unknown, unknown]>
      return name === 'query' || name === 'execute' ? looked(method) : method
    },
  })
}

/** `XA PREPARE '<half>','<half>'` by PostgreSQL's name for it, so that a moment can name both. */
export function stepOf(text: string): string {
  const [, gid] = /^XA PREPARE (\S+)$/.exec(text) ?? []
  return gid === undefined ? text : `PREPARE ${gid.replaceAll(/[',]/g, '')}`
}

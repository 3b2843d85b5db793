/**
 * The processes of the tests in which participants over HTTP and their coordinators die. Argument: JSON. `bank`: a participant
 * behind `node:http`. `front`: a coordinator that starts the sagas it is given. `joiner`: an instance of the front that adds a
 * branch to the transaction that a request came with, and says so before it answers, which it never does.
 */

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { toNode } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { Refusal } from 'concordat/saga'
import { type Coordinator, createCoordinator } from 'concordat/saga/coordinator'
import { currentGlobalTransaction } from 'concordat/saga/global'
import { httpParticipants } from 'concordat/saga/http'
import { tccParticipant } from 'concordat/saga/tcc'
import pg from 'pg'
import { type HttpJob, httpMoves, httpSagas } from './http-sagas.ts'

const job = JSON.parse(process.argv[2] ?? '{}') as HttpJob
const { run } = job
const say = (line: string): void => void process.stdout.write(`${line}\n`)
const pool = new pg.Pool({ connectionString: job.url, max: 8 })
const sql = pgClient(pool)

const listening = (server: ReturnType<typeof createServer>): void => {
  server.listen(job.port, '127.0.0.1', () => say(`port ${(server.address() as AddressInfo).port}`))
}

// A branch is known by what `defineBranch` returned.
const { sagas, pay, move } = httpSagas(job)

function coordinate(): Coordinator {
  const outbox = createOutbox({ sql, service: 'front', schema: run })
  const own = { service: 'front', sql, outbox, schema: run, sagas, leaseMs: 1_000, pollMs: 50 }
  return createCoordinator({ ...own, instance: job.instance })
}

const roles: Readonly<Record<HttpJob['role'], () => Promise<void>>> = {
  bank: async () => {
    const note = async (tx: typeof sql | { query: typeof sql.query }, key: string, what: string): Promise<void> =>
      void (await tx.query(`INSERT INTO ${run}.effects VALUES ($1, $2)`, [key, what]))
    const bank = tccParticipant(
      httpMoves,
      { group: 'bank', effects: 'tx' },
      {
        try: async ({ account, refuse }, { tx, key }) => {
          if (refuse) throw new Refusal('bank.closed', `${account} is closed`)
          await note(tx, key, 'try')
        },
        confirm: (_, { tx, key }) => note(tx, key, 'confirm'),
        cancel: (_, { tx, key }) => note(tx, key, 'cancel'),
      },
    )
    listening(createServer(toNode(httpParticipants([bank], { sql, schema: `${run}_bank`, authorize: 'none' }))))
  },
  front: async () => {
    const coordinator = coordinate()
    await coordinator.run()
    for (const id of job.ids) {
      const input = { refuse: id.startsWith('no') }
      await coordinator.start(pay, { id, input })
      say(`started ${id}`)
    }
    say('started all')
  },
  joiner: async () => {
    const coordinator = coordinate()
    await coordinator.run()
    listening(
      createServer(
        toNode((request) =>
          coordinator.inheritTransaction(request.headers, async () => {
            await currentGlobalTransaction()?.call(move, { account: 'b', refuse: false })
            say('joined')
            return new Promise<Response>(() => {})
          }),
        ),
      ),
    )
  },
}
await roles[job.role]()

/** Tests of an XA participant and its commands, for each database that prepares. */
import type { HandlerContext } from 'concordat/binder'
import { type SqlClient, silentLogger } from 'concordat/core'
import { Refusal } from 'concordat/saga'
import { tccParticipant } from 'concordat/saga/tcc'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Operation } from '../../support/inside/saga.ts'
import { until } from '../../support/until.ts'
import { Dead, MortalClient } from './mortal.ts'
import { stockCommands } from './world.ts'
import type { Handler, XaWorld } from './xa-world.ts'

/** Registers the tests. The world is made in `beforeAll`. */
export function xaSuite<Tx>(of: () => XaWorld<Tx>): void {
  beforeEach(() => of().next())
  commandCases(of)
  deathCases(of)
  cancellationCases(of)
  handCases(of)
  handlerCases(of)
}

/**
 * Delivers commands side by side in any order, each up to `attempts` times: the saga ends with all or nothing, and nothing stays
 * prepared.
 */
export async function expectAllOrNothing<Tx>(world: XaWorld<Tx>, attempts: number): Promise<void> {
  const how = { maxAttempts: attempts === 1 ? 1 : 3 }
  const [one, other] = [world.bind(world.write, how), world.bind(world.write, how)]
  const operations: Operation[] = ['invoke', 'compensate', 'invoke', 'invoke']
  for (let n = 0; n < 15; n++) {
    world.next('many-')
    const order = operations.toSorted(() => Math.random() - 0.5)
    await Promise.all(order.map((operation, i) => world.deliver(i % 2 ? one : other, operation, attempts)))
    expect([await world.effects(), await world.prepared()], `${world.id} ${order.join(' ')}`).toEqual([0, []])
    world.next('confirmed-')
    await Promise.all([one, other, one].map((each) => world.deliver(each, 'invoke', attempts)))
    expect(await world.prepared(), world.id).toHaveLength(1)
    await Promise.all([one, other].map((each) => world.deliver(each, 'confirm', attempts)))
    expect([await world.effects(), await world.prepared()], world.id).toEqual([1, []])
  }
  // A command that was overtaken repeatedly may have to be sent again.
  const failed = (await world.answers()).filter((answer) => answer.includes('failed'))
  expect(new Set([...failed, 'invoke failed saga.xa_not_yet'])).toEqual(new Set(['invoke failed saga.xa_not_yet']))
}

function commandCases<Tx>(of: () => XaWorld<Tx>): void {
  describe('called repeatedly', () => {
    test('prepares once, and commits that once', async () => {
      const world = of()
      const binding = world.bind()
      expect(await world.send(binding, 'invoke')).toEqual(['invoke ok'])
      expect(await world.send(binding, 'invoke')).toEqual(['invoke ok'])
      expect(await world.effects()).toBe(0)
      expect(await world.prepared()).toHaveLength(1)
      for (const _ of [1, 2]) expect(await world.send(binding, 'confirm')).toEqual(['confirm ok'])
      expect(await world.send(binding, 'invoke')).toEqual(['invoke ok'])
      expect(await world.effects()).toBe(1)
      expect(await world.prepared()).toEqual([])
    })

    test('rolls its prepared work back', async () => {
      const world = of()
      const binding = world.bind()
      await world.send(binding, 'invoke')
      for (const _ of [1, 2]) expect(await world.send(binding, 'compensate')).toEqual(['compensate ok'])
      expect(await world.send(binding, 'invoke')).toEqual(['invoke refused saga.cancelled'])
      expect(await world.effects()).toBe(0)
      expect(await world.prepared()).toEqual([])
    })
  })

  test('has nothing to roll back without a try, and refuses a later try', async () => {
    const world = of()
    const binding = world.bind()
    expect(await world.send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await world.send(binding, 'invoke')).toEqual(['invoke refused saga.cancelled'])
    expect(await world.prepared()).toEqual([])
  })

  test('commits nothing that was never tried, refused or rolled back, and rolls nothing back that was committed', async () => {
    const world = of()
    const binding = world.bind()
    expect(await world.send(binding, 'confirm')).toEqual(['confirm failed final saga.not_reserved'])
    expect(await world.send(binding, 'invoke')).toEqual(['invoke refused saga.cancelled'])
    world.next()
    await world.send(binding, 'invoke')
    await world.send(binding, 'confirm')
    expect(await world.send(binding, 'compensate')).toEqual(['compensate failed final saga.confirmed'])
    expect(await world.send(binding, 'confirm')).toEqual(['confirm ok'])
    world.next()
    await world.send(binding, 'invoke')
    await world.send(binding, 'compensate')
    expect(await world.send(binding, 'confirm')).toEqual(['confirm failed final saga.not_reserved'])
    expect(await world.effects()).toBe(0)
  })

  test('leaves what another kind of participant tried to that one', async () => {
    const world = of()
    const own = { group: 'stock', sql: world.sql, outbox: world.outbox(), schema: world.schema }
    const tcc = tccParticipant(stockCommands, own, { try: () => 1, confirm: () => {}, cancel: () => {} })
    await world.send(tcc, 'invoke')
    expect(await world.send(world.bind(), 'compensate')).toEqual(['compensate failed final saga.wrong_participant'])
    expect(await world.send(world.bind(), 'confirm')).toEqual(['confirm failed final saga.not_reserved'])
    expect(await world.send(tcc, 'confirm')).toEqual(['confirm ok'])
  })

  test('is committed and rolled back though the payload can no longer be read', async () => {
    const world = of()
    const binding = world.bind()
    for (const operation of ['confirm', 'compensate'] as const) {
      world.next()
      await world.send(binding, 'invoke')
      const { signal } = new AbortController()
      const context = { headers: world.headers(operation), attempt: 1, log: silentLogger, signal }
      await binding.unreadable?.(new Error('not JSON'), context as unknown as HandlerContext)
      expect(await world.answers()).toEqual([`${operation} ok`])
      expect(await world.prepared()).toEqual([])
    }
  })
}

function deathCases<Tx>(of: () => XaWorld<Tx>): void {
  function ignoreDead(error: unknown): readonly string[] {
    if (error instanceof Dead) return []
    throw error
  }

  /** Sends each command to a process that dies at its n-th step, and then again to one that does not. False: it did not die. */
  async function dieAt(n: number, when: 'before' | 'after', operations: readonly Operation[]): Promise<boolean> {
    const world = of()
    world.next('dies-')
    const mortal = new MortalClient(world.sql, n, when)
    const [dying, living] = [world.bind(world.write, { mortal }), world.bind()]
    const answers: string[] = []
    for (const operation of operations) {
      if (!mortal.dead) answers.push(...(await world.send(dying, operation, 1).catch(ignoreDead)))
      if (mortal.dead) answers.push(...(await world.send(living, operation)))
    }
    const decided = operations.at(-1) === 'confirm'
    expect(await world.prepared(), `${world.id} ${n}`).toEqual([])
    expect(await world.effects(), `${world.id} ${n}`).toBe(decided ? 1 : 0)
    expect(new Set(answers), `${world.id} ${n}`).toEqual(new Set(operations.map((operation) => `${operation} ok`)))
    return mortal.dead
  }

  describe('whose process dies at any statement, commit or preparation', () => {
    test.each(['before', 'after'] as const)('ends as decided (%s its execution)', async (when) => {
      for (const operations of [
        ['invoke', 'confirm'],
        ['invoke', 'compensate'],
      ] as const) {
        let n = 1
        while (await dieAt(n, when, operations)) n++
        expect(n).toBeGreaterThan(12)
      }
    })

    test.each(['before', 'after'] as const)(
      'leaves nothing when it is cancelled instead (%s its execution)',
      async (when) => {
        const world = of()
        let n = 0
        for (let dead = true; dead; ) {
          world.next('gone-')
          const mortal = new MortalClient(world.sql, ++n, when)
          await world.send(world.bind(world.write, { mortal }), 'invoke', 1).catch(ignoreDead)
          dead = mortal.dead
          const living = world.bind()
          expect((await world.send(living, 'compensate')).at(-1), `${world.id} ${n}`).toBe('compensate ok')
          expect(await world.send(living, 'invoke')).toEqual(['invoke refused saga.cancelled'])
          expect([await world.effects(), await world.prepared()], `${world.id} ${n}`).toEqual([0, []])
        }
        expect(n).toBeGreaterThan(6)
      },
    )

    test('after its commit, long after it began: a purge leaves what its repetition is answered from', async () => {
      const world = of()
      for (let n = 1, isDead = true; isDead; n++) {
        world.next('purged-')
        await world.send(world.bind(), 'invoke')
        const mortal = new MortalClient(world.sql, n, 'after')
        await world.send(world.bind(world.write, { mortal }), 'confirm', 1).catch(ignoreDead)
        isDead = mortal.dead
        if ((await world.prepared()).length > 0) continue
        await world.purge()
        await world.answers()
        expect(await world.send(world.bind(), 'confirm'), `${n}`).toEqual(['confirm ok'])
      }
    })

    test('before it answered: the next one rolls the prepared work back and prepares again', async () => {
      const world = of()
      let calls = 0
      const count: Handler<Tx> = (command, context) => {
        calls++
        return world.write(command, context)
      }
      const killed = world.bind(count, { afterPrepare: () => Promise.reject(new Dead('killed')) })
      await expect(world.send(killed, 'invoke', 1)).rejects.toThrow('killed')
      const [first] = await world.prepared()
      expect(await world.send(world.bind(count), 'invoke')).toEqual(['invoke ok'])
      expect(await world.prepared()).toEqual([expect.stringContaining(':2:')])
      expect([first?.includes(':1:'), calls]).toEqual([true, 2])
      expect(await world.send(world.bind(), 'confirm')).toEqual(['confirm ok'])
      expect(await world.effects()).toBe(1)
    })
  })
}

function cancellationCases<Tx>(of: () => XaWorld<Tx>): void {
  describe('cancelled during the work of another process', () => {
    test.each([
      ['a process that is frozen before its handler is refused when it resumes', 'beforePrepare'],
      ['a process that has prepared and not answered can no longer answer', 'afterPrepare'],
    ] as const)('%s', async (_title, place) => {
      const world = of()
      const [reached, resume] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const frozen = world.bind(world.write, { [place]: () => (reached.resolve(), resume.promise) })
      const slow = world.deliver(frozen, 'invoke')
      await reached.promise
      await world.deliver(world.bind(), 'compensate')
      expect(await world.prepared()).toEqual([])
      resume.resolve()
      await slow
      expect(await world.answers()).toEqual(['compensate ok', 'invoke refused saga.cancelled'])
      expect([await world.effects(), await world.prepared()]).toEqual([0, []])
    })

    test('in its handler: the cancellation waits for it, and rolls its prepared work back', async () => {
      const world = of()
      const [reached, resume] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const working = world.bind(async (command, context) => {
        await world.write(command, context)
        reached.resolve()
        await resume.promise
      })
      const slow = world.deliver(working, 'invoke')
      await reached.promise
      const cancelled = world.deliver(world.bind(), 'compensate')
      await until('it is marked', async () => {
        const { rows } = await world.sql.query(
          `SELECT FROM ${world.schema}.saga_barrier WHERE saga_key = $1 AND operation = 'invoke' AND status = 'cancelled'`,
          [`order/${world.id}/reserve`],
        )
        return rows.length === 1
      })
      resume.resolve()
      await Promise.all([slow, cancelled])
      expect((await world.answers()).toSorted()).toEqual(['compensate ok', 'invoke refused saga.cancelled'])
      expect([await world.effects(), await world.prepared()]).toEqual([0, []])
    })

    test('by two processes, one of which dies when it has marked it: the other one rolls back what it did not know of', async () => {
      const world = of()
      const [reached, resume] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      let isFirst = true
      const pausing: SqlClient = {
        ...world.sql,
        // The cancellation has looked for the step, and not decided yet.
        transaction: async (work) => {
          if (isFirst) reached.resolve()
          if (isFirst) await resume.promise
          isFirst = false
          return world.sql.transaction(work)
        },
      }
      const dying: SqlClient = {
        ...world.sql,
        transaction: async (work) => {
          await world.sql.transaction(work)
          throw new Dead('killed')
        },
      }
      const on = (sql: SqlClient) =>
        world.bind(world.write, { mortal: new MortalClient(sql, Number.POSITIVE_INFINITY, 'before') })
      const slow = world.deliver(on(pausing), 'compensate')
      await reached.promise
      await world.deliver(world.bind(), 'invoke')
      await expect(world.deliver(on(dying), 'compensate', 1)).rejects.toThrow('killed')
      expect(await world.prepared()).toHaveLength(1)
      resume.resolve()
      await slow
      expect(await world.answers()).toEqual(['invoke ok', 'compensate ok'])
      expect([await world.effects(), await world.prepared()]).toEqual([0, []])
    })
  })
}

function handCases<Tx>(of: () => XaWorld<Tx>): void {
  describe('whose prepared transaction was ended by hand', () => {
    test('rolled back: it cannot be confirmed, and reports that', async () => {
      const world = of()
      await world.send(world.bind(), 'invoke')
      await world.endByHand('ROLLBACK')
      for (const _ of [1, 2])
        expect(await world.send(world.bind(), 'confirm')).toEqual(['confirm failed final saga.not_prepared'])
      expect(await world.send(world.bind(), 'compensate')).toEqual(['compensate ok'])
    })

    test('committed: it can be confirmed, and not cancelled', async () => {
      const world = of()
      await world.send(world.bind(), 'invoke')
      await world.endByHand('COMMIT')
      expect(await world.send(world.bind(), 'compensate')).toEqual(['compensate failed final saga.confirmed'])
      expect(await world.send(world.bind(), 'confirm')).toEqual(['confirm ok'])
      expect(await world.effects()).toBe(1)
    })

    test('committed, and purged as an old one: it can be confirmed, and not cancelled', async () => {
      const world = of()
      await world.send(world.bind(), 'invoke')
      await world.endByHand('COMMIT')
      await world.purge()
      expect(await world.send(world.bind(), 'compensate')).toEqual(['compensate failed final saga.confirmed'])
      expect(await world.send(world.bind(), 'confirm')).toEqual(['confirm ok'])
      expect(await world.effects()).toBe(1)
    })

    test('committed before it was answered: it is not done a second time', async () => {
      const world = of()
      const killed = world.bind(world.write, { afterPrepare: () => Promise.reject(new Dead('killed')) })
      await expect(world.send(killed, 'invoke', 1)).rejects.toThrow('killed')
      await world.endByHand('COMMIT')
      expect(await world.send(world.bind(), 'invoke')).toEqual(['invoke failed final saga.committed_by_hand'])
      expect(await world.send(world.bind(), 'compensate')).toEqual(['compensate failed final saga.confirmed'])
      expect(await world.effects()).toBe(1)
    })
  })
}

function handlerCases<Tx>(of: () => XaWorld<Tx>): void {
  test('keeps a refusal; nothing is prepared, nothing has to be rolled back', async () => {
    const world = of()
    const binding = world.bind(async (_, { tx }) => {
      await world.database.insert(tx, world.id, 'half')
      throw new Refusal('stock.empty', 'sold out')
    })
    for (const _ of [1, 2]) expect(await world.send(binding, 'invoke')).toEqual(['invoke refused stock.empty'])
    expect(await world.send(binding, 'confirm')).toEqual(['confirm failed final saga.not_reserved'])
    expect(await world.send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await world.effects()).toBe(0)
  })

  test('does not wait without limit for a row that another saga holds, and has it once that one is decided', async () => {
    const world = of()
    await world.database.insertHot()
    const handler: Handler<Tx> = async (_, { tx, sagaId }) => void (await world.database.append(tx, `${sagaId} `))
    const binding = world.bind(handler, { lockTimeoutMs: 50, maxAttempts: 1 })
    const first = world.id
    expect(await world.send(binding, 'invoke')).toEqual(['invoke ok'])
    world.next()
    expect(await world.send(binding, 'invoke')).toEqual([`invoke failed ${world.database.lockTimeoutCode}`])
    const second = world.id
    world.id = first
    expect(await world.send(binding, 'confirm')).toEqual(['confirm ok'])
    world.id = second
    expect(await world.send(binding, 'invoke')).toEqual(['invoke ok'])
    expect(await world.send(binding, 'confirm')).toEqual(['confirm ok'])
    expect(await world.database.effects('hot')).toEqual([`${first} ${second} `])
  })

  test('fails permanently when its handler’s work cannot be prepared', async () => {
    const world = of()
    const binding = world.bind(async (_, { tx }) => void (await world.database.doUnpreparable(tx)))
    expect(await world.send(binding, 'invoke')).toEqual(['invoke failed final core.sql_cannot_prepare'])
    expect(await world.send(binding, 'compensate')).toEqual(['compensate ok'])
  })

  test('calls a handler that failed again, in a transaction of its own', async () => {
    const world = of()
    let calls = 0
    const binding = world.bind(async (command, context) => {
      const result = await world.write(command, context)
      if (++calls === 1) throw new Error('not now')
      return result
    })
    expect(await world.send(binding, 'invoke')).toEqual(['invoke ok'])
    await world.send(binding, 'confirm')
    expect(await world.effects()).toBe(1)
  })
}

import { expect, it } from 'vitest'
import { ROLES, TRANSPORTS } from './place.ts'
import { beginsAt, grantUpTo } from './run/grants.ts'
import { kindsOf, planFaults } from './run/plan.ts'
import { INSTANCES, LEASE_MS, SESSION_MS, SPARED_FROM, WINDOW } from './settings.ts'
import { messagesOf, ordersFor, refusedBy } from './shop.ts'

const OPTIONS = { seed: 7, transport: 'kafka', orders: 1_000_000, faults: 1_000 } as const

it.for(TRANSPORTS)('a plan of faults plays every kind at least fifty times among a thousand on %s', (transport) => {
  const planned = planFaults({ ...OPTIONS, transport })
  const times = new Map<string, number>()
  for (const { kind } of planned) times.set(kind.name, (times.get(kind.name) ?? 0) + 1)
  expect(kindsOf(transport).map(({ name }) => times.get(name) ?? 0)).toSatisfy((all: number[]) =>
    all.every((n) => n >= 50),
  )
  expect([...times.keys()]).toEqual(expect.arrayContaining(ROLES.flatMap((role) => [`kill-${role}`, `freeze-${role}`])))
  expect([...times.keys()]).toEqual(
    expect.arrayContaining([`kill-${transport}`, `freeze-${transport}`, 'stop-postgres']),
  )
})

it('a plan of faults plans the same faults for the same seed, and others for another', () => {
  expect(planFaults(OPTIONS)).toEqual(planFaults(OPTIONS))
  expect(planFaults({ ...OPTIONS, seed: 8 })).not.toEqual(planFaults(OPTIONS))
})

it('a plan of faults spreads the faults over the orders, in order, one in each stretch', () => {
  const stretch = OPTIONS.orders / OPTIONS.faults
  for (const { number, beginsAt: begins } of planFaults(OPTIONS)) expect(Math.floor(begins / stretch)).toBe(number)
})

it('a plan of faults freezes a process for longer than its leases, and on Kafka than its session', () => {
  for (const transport of TRANSPORTS) {
    const frozen = planFaults({ ...OPTIONS, transport }).filter(
      ({ kind }) => kind.action === 'freeze' && 'role' in kind.target,
    )
    const longest = transport === 'kafka' ? SESSION_MS : LEASE_MS
    expect(Math.min(...frozen.map(({ ms }) => ms))).toBeGreaterThan(longest)
  }
})

it('a plan of faults kills each process of a role, and spares the first one late in the run', () => {
  const kills = planFaults(OPTIONS).filter(({ kind }) => kind.action === 'kill' && 'role' in kind.target)
  const victims = (late: boolean): Set<number> =>
    new Set(
      kills
        .filter(({ beginsAt: begins }) => begins >= SPARED_FROM * OPTIONS.orders === late)
        .map(({ victim }) => victim),
    )
  expect(victims(false).size).toBe(INSTANCES)
  expect(victims(true)).toEqual(new Set([1]))
})

it('messagesOf counts the messages of each order', () => {
  const each: Record<string, number> = { nobody: 6, payments: 4, stock: 8 }
  let sum = 0
  for (let orders = 1; orders <= 200; orders++) {
    sum += each[refusedBy(orders)] ?? Number.NaN
    expect(messagesOf(orders)).toBe(sum)
    expect(ordersFor(sum)).toBe(orders)
    expect(ordersFor(sum + 1)).toBe(orders + 1)
  }
  expect(ordersFor(1)).toBe(1)
  expect(messagesOf(ordersFor(1_000_000))).toBeLessThan(1_000_008)
})

const STANDING = { orders: 2_000, faults: 20, played: 0, done: 0, granted: 0, elapsedMs: 0 }

it('the limit of orders grants a stretch in the time that a fault takes, and never less than before', () => {
  expect(grantUpTo({ ...STANDING, granted: 40, elapsedMs: 450 })).toBe(50)
  expect(grantUpTo({ ...STANDING, granted: 40 })).toBe(40)
})

it('the limit of orders delays orders behind the coming faults, but only briefly', () => {
  expect(grantUpTo({ ...STANDING, elapsedMs: 1_000_000 })).toBe(150)
  expect(grantUpTo({ ...STANDING, played: 3, elapsedMs: 1_000_000 })).toBe(450)
  expect(grantUpTo({ ...STANDING, done: 150, granted: 150, elapsedMs: 1_000_000 })).toBe(160)
})

it('the limit of orders grants all that is left after the last fault, and no more than may be open', () => {
  expect(grantUpTo({ ...STANDING, played: 20, done: 1_900, elapsedMs: 1_000_000 })).toBe(2_000)
  const many = { ...STANDING, orders: 1_000_000, played: 20, elapsedMs: 1_000_000 }
  expect(grantUpTo({ ...many, done: 500 })).toBe(500 + WINDOW)
})

it('the limit of orders needs no more done than was granted for a fault to begin', () => {
  for (let fault = 0; fault < STANDING.faults; fault++) {
    const granted = grantUpTo({ ...STANDING, played: fault, done: fault * 100, elapsedMs: 1_000_000 })
    expect(beginsAt(STANDING, fault, 0.6)).toBeLessThan(granted)
  }
})

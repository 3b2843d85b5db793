/** Faults of the processes that contend for the lock. */
import { nowMs } from '../harness/events.ts'
import { killed, overtaken } from '../store/fault.ts'
import { type LockFault, SHORT_HEARTBEAT_MS } from './fault.ts'

export const calm: LockFault = {
  name: 'none',
  what: 'no fault, to compare with',
  keepsOrder: true,
  async act(stage) {
    await stage.pause(stage.ttls(0.6, 0.9))
    return { happened: 'nothing was broken', healedAt: stage.note('healed', 'nothing was broken') }
  },
}

export const killHolder: LockFault = {
  name: 'kill-holder',
  what: 'kill -9 of the holder in its section',
  keepsOrder: true,
  async act(stage) {
    const holder = await stage.lingerer()
    await stage.untilWaiting(2, stage.others(holder))
    const healedAt = await killed(stage, holder)
    return { happened: `${holder.name} was killed while it held the lock`, healedAt }
  },
}

export const killWaiter: LockFault = {
  name: 'kill-waiter',
  what: 'kill -9 of a waiter, before or in the moment of its turn',
  keepsOrder: true,
  async act(stage) {
    const holder = await stage.lingerer()
    const victim = stage.random.pick(await stage.untilWaiting(2, stage.others(holder)))
    const inItsTurn = stage.random.chance(0.5)
    if (inItsTurn) holder.order({ do: 'leave' })
    const wasWaiting = stage.isWaiting(victim)
    const killedAt = await killed(stage, victim)
    if (!inItsTurn) {
      await stage.pause(stage.random.between(0, 100))
      holder.order({ do: 'leave' })
    }
    const healedAt = inItsTurn ? killedAt : stage.note('healed', `${holder.name} leaves`)
    return { happened: wasWaiting ? `${victim.name} was killed while it waited` : undefined, healedAt }
  },
}

export const stopHolder: LockFault = {
  name: 'stop-holder',
  what: 'SIGSTOP of the holder past its ttl; resumed, it writes at once without asking',
  asks: 'never',
  needsFence: true,
  heartbeatMs: SHORT_HEARTBEAT_MS,
  act: (stage) =>
    overtaken(stage, async (victim, successor) => {
      stage.note('fault', `${victim.name} is stopped`)
      victim.stop()
      await successor()
      await stage.pause(stage.ttls(0, 0.3))
      victim.resume()
      return stage.note('healed', `${victim.name} is resumed`)
    }),
}

export const stallHolder: LockFault = {
  name: 'stall-holder',
  what: 'the event loop of the holder is blocked past its ttl',
  asks: 'sometimes',
  heartbeatMs: SHORT_HEARTBEAT_MS,
  act: (stage) =>
    overtaken(
      stage,
      async (victim, successor) => {
        stage.note('fault', `${victim.name} blocks`)
        const ms = stage.ttls(1.4, 1.8)
        victim.order({ do: 'block', ms })
        const end = nowMs() + ms
        await successor()
        await stage.pause(Math.max(0, end - nowMs()))
        return stage.note('healed', `${victim.name} runs again`)
      },
      'it is refused or notices',
    ),
}

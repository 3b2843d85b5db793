/** Faults of the network between a worker and Redis. */
import type { Direction } from '../harness/link.ts'
import { bitten, cutOff } from '../store/fault.ts'
import { type LockFault, SHORT_HEARTBEAT_MS } from './fault.ts'

export const partitions = (['both', 'requests', 'replies'] as const).map((direction: Direction): LockFault => {
  const what = { both: 'nothing passes', requests: 'requests are lost', replies: 'replies are lost' }[direction]
  return {
    name: `partition-${direction}`,
    what: `between the holder and the server ${what}, past the ttl; what was held back arrives later`,
    asks: 'sometimes',
    heartbeatMs: SHORT_HEARTBEAT_MS,
    act: (stage) => cutOff(stage, (link) => link.hold(direction)),
  }
})

export const connectionsCut: LockFault = {
  name: 'cut',
  what: 'connections between the holder and the server break and are refused, past the ttl',
  asks: 'sometimes',
  heartbeatMs: SHORT_HEARTBEAT_MS,
  act: (stage) => cutOff(stage, (link) => link.cut()),
}

export const torn: LockFault = {
  name: 'torn-replies',
  what: 'connections are reset in the middle of a reply, again and again',
  heartbeatMs: SHORT_HEARTBEAT_MS,
  async act(stage) {
    const before = stage.bitten
    stage.note('fault', 'replies are torn')
    for (let times = stage.random.between(6, 12); times > 0; times -= 1) {
      stage.random.pick(stage.links).tear()
      await stage.pause(stage.random.between(40, 120))
    }
    for (const link of stage.links) link.heal()
    return { happened: bitten(stage, before), healedAt: stage.note('healed', 'no more') }
  },
}

export const lateReply: LockFault = {
  name: 'late-reply-then-cut',
  what: 'the grant arrives half a ttl late, then the holder is cut off',
  asks: 'always',
  heartbeatMs: SHORT_HEARTBEAT_MS,
  async act(stage) {
    const victim = stage.random.pick(stage.workers)
    const link = stage.link(victim)
    await stage.quiet()
    const lateMs = stage.ttls(0.5, 0.6)
    stage.note('fault', `replies to ${victim.name} are ${lateMs} ms late`)
    link.slow(() => lateMs / 2)
    const held = victim.next('holds', ({ op, type }) => op === 'acquire' && type === 'ok')
    victim.order({ do: 'linger' })
    victim.order({ do: 'go' })
    await held
    link.hold('both')
    const successor = stage.successor(stage.others(victim))
    stage.all({ do: 'go' })
    await successor
    stage.all({ do: 'leave' })
    // Past everything that the victim can believe.
    await stage.pause(stage.ttls(0.8, 1))
    const { bitten: bytes } = link
    link.heal()
    return {
      happened: bytes > 0 ? `${victim.name} heard of its grant ${lateMs} ms late, then nothing` : undefined,
      healedAt: stage.note('healed', `${victim.name} reaches the server again`),
    }
  },
}

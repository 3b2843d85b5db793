/** Faults of readers, writers and holders of a permit. */
import { killed } from '../store/fault.ts'
import { COMES_WITHIN_MS } from '../store/sizes.ts'
import { type LockFault, SHORT_HEARTBEAT_MS } from './fault.ts'
import type { Mode } from './settings.ts'

const MODES: ReadonlyArray<readonly [name: string, mode: Mode, who: string]> = [
  ['readers-writers', 'readers and writers', 'a reader or writer'],
  ['permits', 'permits', 'the holder of one of two permits'],
]

export const modes: readonly LockFault[] = MODES.flatMap(([name, mode, who]) => [
  kill(name, mode, who),
  stop(name, mode, who),
])

function kill(name: string, mode: Mode, who: string): LockFault {
  return {
    name: `${name}-kill`,
    what: `kill -9 of ${who}`,
    mode,
    async act(stage) {
      const holder = await stage.lingerer()
      const healedAt = await killed(stage, holder)
      return { happened: `${holder.name} was killed while it held`, healedAt }
    },
  }
}

function stop(name: string, mode: Mode, who: string): LockFault {
  return {
    name: `${name}-stop`,
    what: `SIGSTOP of ${who} past its ttl, resumed`,
    mode,
    heartbeatMs: SHORT_HEARTBEAT_MS,
    async act(stage) {
      const victim = await stage.lingerer()
      const released = victim.next(
        'has released',
        ({ op, type }) => op === 'release' && type !== 'invoke',
        COMES_WITHIN_MS,
      )
      released.catch(() => {})
      stage.note('fault', `${victim.name} is stopped`)
      victim.stop()
      await stage.pause(stage.ttls(1.3, 1.8))
      victim.resume()
      const healedAt = stage.note('healed', `${victim.name} is resumed`)
      const { outcome } = await released
      stage.all({ do: 'leave' })
      return { happened: outcome === 'lost' ? `${victim.name} lost its lease meanwhile` : undefined, healedAt }
    },
  }
}

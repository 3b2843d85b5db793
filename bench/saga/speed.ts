/** Three durable local steps, beside the engines that make functions durable. */
import type { SuiteOptions } from '../main.ts'
import type { PostgresBed } from '../postgres-bed.ts'
import { measureBout } from './bout.ts'
import { dbosSide, ourSide, restateSide } from './sides.ts'

const THREE_STEPS = {
  what: 'three durable local steps',
  ours: ourSide,
  rivals: [
    { make: dbosSide, what: 'DBOS', target: { atLeast: 5 } },
    { make: restateSide, what: 'Restate', target: { atLeast: 2 } },
  ],
  oneAtMostMs: 10,
} as const

export function measureSpeed(postgres: PostgresBed, options: SuiteOptions): Promise<void> {
  return measureBout(THREE_STEPS, postgres, options)
}

import type { Random } from '../harness/random.ts'
import type { FaultSpec } from '../harness/suite.ts'
import type { Scene } from './scene.ts'

/** Tools that a fault gets beside the servers. */
export interface Stage {
  readonly random: Random
  note(op: 'act' | 'fault' | 'healed', text: string): void
}

export interface ClusterFault extends FaultSpec {
  /** Keys move to other partitions, across which no order is promised. @default false */
  readonly movesKeys?: boolean | undefined
  /** Plays it while everything moves, until all is healed. @returns how one sees that it happened */
  play(scene: Scene, stage: Stage): Promise<string | undefined>
}

/** Load that continues while servers fail: work that is started repeatedly, counted, and ends. */
import type { Event } from '../harness/events.ts'
import type { Random } from '../harness/random.ts'
import type { InvariantVerdict } from '../harness/suite.ts'
import type { Progress } from './pulse.ts'

export interface Line {
  readonly name: string
  /** Counts its finished work in the whole run. */
  readonly progress: Progress
  readonly histories: readonly string[]
  /** Work of this episode begins. */
  begin(prefix: string, random: Random): Promise<void>
  /** Starts nothing new; resolves when all started work is done. @returns the unfinished work, after a long time */
  end(): Promise<string | undefined>
  /** The keys of this episode have moved, and others are to stay where they are from now on. */
  keysMoved?(prefix: string): Promise<void>
  /** Violations found in the whole run so far. */
  judge(events: readonly Event[]): Promise<readonly InvariantVerdict[]>
  close(): Promise<void>
}

/** Logger and clock: options of every part that logs and waits, defined and checked in one place. */
import { type Clock, systemClock } from './clock.ts'
import { checkLogger, type Logger } from './logger.ts'
import { hasMethods, wrongKind } from './option-checks.ts'

/** Logger and clock of a part. */
export interface RuntimeOptions {
  /**
   * Told of what fails and of what changes. The part itself gives it no payloads and no secrets; what your handlers log goes there
   * as it is. @default stderrLogger
   */
  readonly logger?: Logger | undefined
  /** Time of pauses, polls, timeouts and timestamps: tests set their own. @default systemClock */
  readonly clock?: Clock | undefined
}

/** For the names of a part's own options. */
export const RUNTIME_NAMES: Readonly<Record<keyof RuntimeOptions, true>> = { logger: true, clock: true }

/** Merges with the defaults. @throws TypeError naming the option */
export function resolveRuntime(path: string, options: RuntimeOptions): Runtime {
  const { logger, clock = systemClock } = options
  if (!hasMethods(clock, ['now', 'monotonic', 'sleep', 'setTimer']))
    throw wrongKind(`${path}.clock`, clock, 'a clock with now, monotonic, sleep and setTimer, such as systemClock')
  return { logger: checkLogger(`${path}.logger`, logger), clock }
}

/** Same as `RuntimeOptions`, checked. */
export interface Runtime {
  readonly logger: Logger
  readonly clock: Clock
}

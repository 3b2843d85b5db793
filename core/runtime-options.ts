/** Logger and clock: options of every part that logs and waits, defined and checked in one place. */
import { type Clock, systemClock } from './clock.ts'
import { checkLogger, type Logger } from './logger.ts'
import { hasMethods, wrongKind } from './option-checks.ts'

/** Logger and clock of a part. */
export interface RuntimeOptions {
  /**
   * Receives failures and state changes. The part itself passes no payloads and no secrets; logs of your handlers are passed
   * unchanged. @default stderrLogger
   */
  readonly logger?: Logger | undefined
  /** Clock for pauses, polls, timeouts and timestamps; tests set their own. @default systemClock */
  readonly clock?: Clock | undefined
}

/** For the names of a part's own options. */
export const RUNTIME_NAMES: Readonly<Record<keyof RuntimeOptions, true>> = { logger: true, clock: true }

/** Adds the defaults. @throws TypeError with the name of the option */
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

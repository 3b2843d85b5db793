import { systemClock } from './clock.ts'
import { hasMethods, wrongKind } from './option-checks.ts'
import { stderrLine } from './stderr-line.ts'
import { readableInLog } from './thrown-values.ts'

/** The interface of a logger. A pino logger satisfies it; payloads and secrets are never passed to it. */
export interface Logger {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void
  info(fields: Readonly<Record<string, unknown>>, message: string): void
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
  error(fields: Readonly<Record<string, unknown>>, message: string): void
}

/** The logger of a handler's context. As with pino, a line may have no fields: `log.info('text')`. */
export interface ContextLogger extends Logger {
  debug(message: string): void
  debug(fields: Readonly<Record<string, unknown>>, message: string): void
  info(message: string): void
  info(fields: Readonly<Record<string, unknown>>, message: string): void
  warn(message: string): void
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
  error(message: string): void
  error(fields: Readonly<Record<string, unknown>>, message: string): void
}

const ignore = (): void => {}

/** Logs nothing at all: `logger: silentLogger`. */
export const silentLogger: Logger = Object.freeze({ debug: ignore, info: ignore, warn: ignore, error: ignore })

/**
 * Writes warnings and errors to stderr, one line each, and drops the rest. Default of every part without a `logger`. Enough for
 * small programs; in production use one with structured fields, such as pino. `<time> WARN concordat: <message> | field=value
 * field=value | Error: <message> (at <place>)`
 */
export const stderrLogger: Logger = Object.freeze({
  debug: ignore,
  info: ignore,
  warn: (fields: Readonly<Record<string, unknown>>, message: string) => toStderr('WARN', fields, message),
  error: (fields: Readonly<Record<string, unknown>>, message: string) => toStderr('ERROR', fields, message),
})

/** Uses `console`: `process.stderr` would end the process if the other end of its pipe is closed. */
function toStderr(level: string, fields: Readonly<Record<string, unknown>>, message: string): void {
  const line = (said: typeof fields): string => stderrLine(new Date(systemClock.now()), level, said, message)
  try {
    // oxlint-disable-next-line no-console -- the one place that writes without being given something to write to
    console.error(line(fields))
  } catch {
    // A field that cannot be read, such as an error built by hand.
    // oxlint-disable-next-line no-console -- as above
    console.error(line({}))
  }
}

/**
 * Returns the logger of an option, by default `stderrLogger`. Errors that it throws, for example because of a full disk or a
 * closed stream, are dropped: a line that cannot be written must not fail the operation that it reports.
 * @throws TypeError with the path
 */
export function checkLogger(path: string, logger: unknown): Logger {
  if (logger === undefined) return stderrLogger
  if (logger === silentLogger || logger === stderrLogger) return logger as Logger
  return harmless(requireLogger(path, logger))
}

/** The logger unchanged. @throws TypeError with the path */
export function requireLogger(path: string, logger: unknown): Logger {
  if (hasMethods(logger, ['debug', 'info', 'warn', 'error'])) return logger as Logger
  throw wrongKind(path, logger, 'a logger with debug, info, warn and error, such as pino()')
}

function harmless(logger: Logger): Logger {
  const quietly = (write: () => unknown): void => {
    try {
      const result = write()
      if (result instanceof Promise) result.catch(ignore)
    } catch {
      // There is nowhere left to report this.
    }
  }
  const wrapped: Logger = {
    debug: (fields, message) => quietly(() => logger.debug(fields, message)),
    info: (fields, message) => quietly(() => logger.info(fields, message)),
    warn: (fields, message) => quietly(() => logger.warn(withReadable(fields), message)),
    error: (fields, message) => quietly(() => logger.error(withReadable(fields), message)),
  }
  return 'level' in logger ? withLevelOf(logger, wrapped) : wrapped
}

/** The level of a logger that has one, such as pino, can be read and set on its wrapper. */
function withLevelOf(logger: Logger & { level: unknown }, wrapped: Logger): Logger {
  return Object.defineProperty(wrapped, 'level', {
    get: () => logger.level,
    set: (level: unknown) => {
      logger.level = level
    },
  })
}

/** A serializer that throws would lose the line. */
function withReadable(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const err = readableInLog(fields['err'])
  return err === fields['err'] ? fields : { ...fields, err }
}

/** The same logger with fields added to every line. */
export function withFields(logger: Logger, fields: Readonly<Record<string, unknown>>): ContextLogger {
  const at =
    (level: keyof Logger) =>
    (more: string | Readonly<Record<string, unknown>>, message?: string): void => {
      if (typeof more === 'string') logger[level](fields, more)
      else logger[level]({ ...fields, ...more }, message ?? '')
    }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

import { ConcordatError } from '../core/errors.ts'

/** Another process has the folder, and PGlite takes one at a time: two would destroy it. Nothing was changed. */
export class DataDirectoryInUse extends ConcordatError {
  readonly code = 'embedded.in_use' as const
  readonly retryable = true as const
  readonly dataDir: string
  readonly pid: number

  constructor(dataDir: string, pid: number) {
    super(`"${dataDir}" is in use by process ${pid}: wait for its end, or give embedded() another dataDir`)
    this.dataDir = dataDir
    this.pid = pid
  }
}

/** Somebody else's files are in the folder, or another program's database. Nothing was changed. */
export class DataDirectoryForeign extends ConcordatError {
  readonly code = 'embedded.foreign' as const
  readonly retryable = false as const
  readonly dataDir: string

  constructor(dataDir: string, entry: string) {
    super(`"${dataDir}" holds "${entry}", which is not ours: give embedded() an empty folder or a new one`)
    this.dataDir = dataDir
  }
}

/** The folder cannot be made, or not be read and written. `cause` is what the system said. */
export class DataDirectoryUnusable extends ConcordatError {
  readonly code = 'embedded.unusable' as const
  readonly retryable = false as const
  readonly dataDir: string

  constructor(dataDir: string, cause: unknown) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
    super(`"${dataDir}" cannot be used as a folder (${reason}): give embedded() another dataDir`, { cause })
    this.dataDir = dataDir
  }
}

import { type ErrorClass, type ErrorOf, errorClass } from '../core/define-error-class.ts'

/** Fields of a `DataDirectoryError`, by code. */
export interface DataDirectoryErrors {
  /**
   * Another process uses the folder, and PGlite supports only one: two would destroy the database. Nothing was changed. `pid` is
   * its id on its host (usually 1 in a container), 0 if unknown; `host` is its host name, in a container the container's.
   */
  'embedded.in_use': { dataDir: string; pid: number; host?: string | undefined }
  /**
   * The folder no longer belongs to this process: it was paused until another machine considered it dead, or the file `lock` was
   * removed. No statement runs from then on, and nothing is written; earlier commits are in the folder.
   */
  'embedded.lost': { dataDir: string }
  /** The folder contains foreign files, or another program's database. Nothing was changed. */
  'embedded.foreign': { dataDir: string; entry: string }
  /**
   * The folder cannot be created, read or written, or PGlite cannot open the database in it. `cause` is the error of the system
   * or of PGlite, `reason` a short description.
   */
  'embedded.unusable': { dataDir: string; reason: string; remedy: string }
}

/** Error of a data directory. Its fields depend on its `code`: see `DataDirectoryErrors`. */
export type DataDirectoryError<Code extends keyof DataDirectoryErrors = keyof DataDirectoryErrors> = ErrorOf<
  DataDirectoryErrors,
  Code
>

/** Error of a data directory. Its fields depend on its `code`: see `DataDirectoryErrors`. */
export const DataDirectoryError: ErrorClass<DataDirectoryErrors> = errorClass<DataDirectoryErrors>(
  'DataDirectoryError',
  {
    'embedded.in_use': ({ dataDir, pid, host }) => {
      const user = `${pid === 0 ? 'another process' : `process ${pid}`}${host === undefined ? '' : ` on host ${host}`}`
      return `"${dataDir}" is in use by ${user}: wait for its end, or give embedded() another dataDir`
    },
    'embedded.lost': ({ dataDir }) =>
      `"${dataDir}" was taken by another process while this one stood still, or its file "lock" was removed: end this process and start it again`,
    'embedded.foreign': ({ dataDir, entry }) =>
      `"${dataDir}" holds "${entry}", which is not ours: give embedded() an empty folder or a new one`,
    'embedded.unusable': ({ dataDir, reason, remedy }) =>
      `"${dataDir}" cannot be used as a folder (${reason}): ${remedy}`,
  },
  ['embedded.in_use', 'embedded.lost'],
)

import { accessSync, constants, statSync } from 'node:fs'
import { dirname, relative } from 'node:path'
import type { Given } from './command-line.ts'
import { UsageError } from './errors.ts'

/** Checks that the files of the report can be written: before a run of hours, not after it. @throws UsageError */
export function checkOutputs({ report, curve, folder }: Pick<Given, 'report' | 'curve' | 'folder'>): void {
  for (const [option, path] of [
    ['--report', report],
    ['--curve', curve],
  ] as const) {
    if (path !== undefined) checkOutput(option, path, folder)
  }
}

function checkOutput(option: string, path: string, folder: string): void {
  if (!relative(folder, path).startsWith('..')) {
    throw new UsageError(
      option,
      path,
      'It is in the folder of the run, which keeps files of its own: name a file outside.',
    )
  }
  const parent = dirname(path)
  if (statSync(parent, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new UsageError(option, path, `There is no folder ${parent}: make it, or name another file.`)
  }
  const there = statSync(path, { throwIfNoEntry: false })
  if (there?.isDirectory() === true) throw new UsageError(option, path, 'It is a folder: name a file in it.')
  if (!isWritable(parent) || (there !== undefined && !isWritable(path))) {
    throw new UsageError(option, path, 'It cannot be written: allow it, or name another file.')
  }
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

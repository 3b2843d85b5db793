/** Source files of the engine and of the packages beside it, without build output and installed packages. */
import { globSync } from 'node:fs'

const FOLDERS = '{core,binder,outbox,saga,locks,election,bus,service,embedded,operator,testing,entry,packages}'

/** @param name pattern of file names, such as `index.ts` */
export function sourceFiles(name = '*.ts'): readonly string[] {
  return globSync(`${FOLDERS}/**/${name}`, { exclude: ['packages/*/dist', 'packages/*/node_modules'] })
}

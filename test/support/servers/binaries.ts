import { accessSync, constants, readdirSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Account } from './recipe.ts'

/** The full path of an executable: in the `preferred` folders, then in those of PATH; undefined when there is none. */
export function findBinary(name: string, preferred: readonly string[] = []): string | undefined {
  const path = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '')
  return [...preferred, ...path].map((folder) => join(folder, name)).find(isExecutable)
}

/**
 * Folders such as `/usr/lib/postgresql/<version>/bin`, the highest version first.
 * @param root the folder of versions
 * @param inner what follows the version
 */
export function versionedFolders(root: string, inner: string): readonly string[] {
  try {
    const byVersion = new Intl.Collator('en', { numeric: true })
    return readdirSync(root)
      .sort((a, b) => byVersion.compare(b, a))
      .map((version) => join(root, version, inner))
  } catch {
    return []
  }
}

/** The first of these users that the system knows, for servers that refuse to run as root; undefined when not root. */
export function unprivilegedAccount(...names: readonly string[]): Account | undefined {
  if (process.getuid?.() !== 0) return undefined
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
  for (const name of names) {
    const user = users.find((fields) => fields[0] === name)
    if (user !== undefined) return { uid: Number(user[2]), gid: Number(user[3]) }
  }
  return undefined
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

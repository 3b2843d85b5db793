/**
 * Which servers a run of test files needs, read from their text, so that a run of one file does not start all of them.
 *
 * A file needs a shared server of a kind when it names the kind in quotes: `describeWith(['redis'], ...)`,
 * `serverUrl('kafka')`. Names in `startServer('redis')` and in `describeWith([...], title, { private: true }, ...)` are
 * about servers of the test's own.
 */
import { type ServerKind, serverKinds } from './kinds.ts'

export interface ServerNeeds {
  /** A server for all tests, started before them. */
  readonly shared: readonly ServerKind[]
  /** Started by the tests themselves; the programs for that must exist. */
  readonly own: readonly ServerKind[]
}

const HEAD = /describeWith\(.*?=>/gs
const OWN_SERVER = /startServer\(\s*['"]\w+['"]/g

/** @param sources the text of each test file that will run */
export function neededServers(sources: readonly string[]): ServerNeeds {
  const text = sources.join('\n')
  const ownText = [...text.matchAll(HEAD)].map(([head]) => head).filter(isPrivate)
  const sharedText = text.replaceAll(HEAD, (head) => (isPrivate(head) ? '' : head)).replaceAll(OWN_SERVER, '')
  return { shared: kindsNamedIn(sharedText), own: kindsNamedIn(ownText.join('\n')) }
}

function isPrivate(head: string): boolean {
  return /private:\s*true/.test(head)
}

function kindsNamedIn(text: string): readonly ServerKind[] {
  return serverKinds.filter((kind) => text.includes(`'${kind}'`) || text.includes(`"${kind}"`))
}

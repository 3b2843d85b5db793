import { describe, inject, test } from 'vitest'
import type { Provision } from './global-setup.ts'
import { addressInEnvironment, type ServerKind } from './kinds.ts'

export interface DescribeWithOptions {
  /** The tests start their own servers with `startServer`, so local binaries are needed and no address will do. */
  readonly private?: boolean | undefined
}

/** Where the server for this test file is: the address in the environment, else what the global setup has started. */
export function serverUrl(kind: ServerKind): string | undefined {
  return addressInEnvironment(kind) ?? startedFor(kind)?.url
}

/** A worker has servers of its own, and runs one file at a time. */
function startedFor(kind: ServerKind): Provision | undefined {
  return inject('sharedServers')?.[Number(process.env['VITEST_POOL_ID']) - 1]?.[kind]
}

/**
 * `describe` for tests that need servers. Where one cannot be had, a single skipped test names what is missing and how to
 * get it; with `CONCORDAT_REQUIRE_SERVERS=1` it fails instead. Write the kinds as quoted literals: the global setup
 * reads them from the file to know what to start.
 */
export function describeWith(kinds: readonly ServerKind[], title: string, tests: () => void): void
export function describeWith(
  kinds: readonly ServerKind[],
  title: string,
  options: DescribeWithOptions,
  tests: () => void,
): void
export function describeWith(
  kinds: readonly ServerKind[],
  title: string,
  ...rest: [() => void] | [DescribeWithOptions, () => void]
): void {
  const [options, tests] = rest.length === 1 ? [{}, rest[0]] : rest
  const provisions = kinds.map((kind) => provisionOf(kind, options.private === true))
  const missing = provisions.flatMap((provision) => provision.missing ?? [])
  if (missing.length === 0) {
    describe(title, tests)
    return
  }
  const mustFail = process.env['CONCORDAT_REQUIRE_SERVERS'] === '1' || provisions.includes(undeclared)
  describe(title, () => {
    test.skipIf(!mustFail)(`needs ${missing.map(firstLine).join(' | ')}`, () => {
      throw new Error(missing.join('\n'))
    })
  })
}

/** A server that did not start has its log in the lines below. */
function firstLine(text: string): string {
  return text.split('\n', 1).join()
}

/** The global setup found no literal name of the kind in the selected files: a mistake in the file, never skipped. */
const undeclared: Provision = {
  missing: "a server that no test file names in quotes, e.g. describeWith(['redis'], ...): see needs.ts",
}

function provisionOf(kind: ServerKind, isPrivate: boolean): Provision {
  if (isPrivate) return inject('ownServers')?.[kind] ?? undeclared
  return addressInEnvironment(kind) === undefined ? (startedFor(kind) ?? undeclared) : {}
}

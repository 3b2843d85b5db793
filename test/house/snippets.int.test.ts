import { expect, it } from 'vitest'
import { describeSnippets } from './support/snippet-programs.ts'
import { manifest } from './support/tarball.ts'

it('run on the lowest version of Node that the package allows', () => {
  expect(manifest.engines.node).toBe('>=22.18')
})

await describeSnippets('22.18.0')

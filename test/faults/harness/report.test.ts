import { describe, expect, it } from 'vitest'
import { shortcomings } from './report.ts'
import type { EpisodeReport, Suite } from './suite.ts'

const suite: Suite = {
  name: 'test',
  faults: [],
  invariants: { 'all is well': 'nothing went wrong' },
  mistakes: {},
  lack: () => undefined,
  open: () => Promise.reject(new Error('not played')),
}

function report(fields: Partial<EpisodeReport> = {}): EpisodeReport {
  return {
    fault: 'rain',
    history: '',
    timeline: [],
    counts: { operations: 1, grants: 1, accepted: 1, refused: 0, unknown: 0 },
    handOverMs: [],
    happened: 'it was wet',
    verdicts: [{ invariant: 'all is well', holds: true, evidence: [] }],
    succeeded: { write: 1 },
    ...fields,
  }
}

describe('a run in which every invariant held', () => {
  it('passes when every fault was played and took effect', () => {
    expect(shortcomings(suite, ['rain'], [report()])).toEqual([])
  })

  it('fails when a fault was never played', () => {
    expect(shortcomings(suite, ['rain', 'hail'], [report()])).toEqual(['the fault "hail" was never played'])
  })

  it('fails without evidence that a fault happened, even once', () => {
    expect(shortcomings(suite, ['rain'], [report(), report({ happened: undefined })])).toEqual([
      'the fault "rain" was played, but nothing shows that it happened',
    ])
  })

  it('fails when a kind of operation never succeeded', () => {
    const reports = [report({ succeeded: { write: 0 } }), report({ succeeded: { write: 0, join: 2 } })]
    expect(shortcomings(suite, ['rain'], reports)).toEqual([
      'no operation of the kind "write" ever succeeded: the run shows nothing',
    ])
  })

  it('fails when it judged an unknown invariant', () => {
    const verdicts = [{ invariant: 'all is wel', holds: true, evidence: [] }]
    expect(shortcomings(suite, ['rain'], [report({ verdicts })])).toEqual([
      'a verdict on "all is wel", which is no invariant of the suite',
    ])
  })
})

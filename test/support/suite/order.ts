/** The order of test files: within a project the longest first, so that none of them runs alone at the end. */
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { longestFirst, readSeconds } from './seconds.ts'

/** Projects one after the other, which workers that are kept from file to file need. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const compare = longestFirst(readSeconds())
    const path = ({ moduleId }: TestSpecification): string => relative(this.ctx.config.root, moduleId)
    // Files that the table does not list keep vitest's order: by their last run here, else by size.
    return (await super.sort(files)).toSorted(
      (a, b) =>
        a.project.config.sequence.groupOrder - b.project.config.sequence.groupOrder ||
        a.project.name.localeCompare(b.project.name) ||
        compare(path(a), path(b)),
    )
  }
}

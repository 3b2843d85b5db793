/** Runs the snippets on the newest Node with long-term support; on the lowest version they run with every change. */
import { describeSnippets } from './support/snippet-programs.ts'

await describeSnippets('26.10.0')

/** On the newest version of Node with long-term support. On the lowest one they run with every change. */
import { describeSnippets } from './support/snippet-programs.ts'

await describeSnippets('26.10.0')

/** Replaces advice for programmers in errors by an option, a name or another command, since an operator cannot change code. */

/** Ends the message of a broker that has another number of partitions, which `TransportError.partitions` contains. */
const OTHER_PARTITIONS =
  /, this service declares (\d+): a key would change its partition\. Say partitions: (\d+) in its defineChannel.*$/
/** Each ends the message. */
const ADVICE: ReadonlyArray<readonly [advice: RegExp, instead: string]> = [
  [/, so give createOperator `\w+`$/, ''],
  [OTHER_PARTITIONS, ', and this command took $1. Give --partitions $2'],
  [/\. Check the names of the channel and the group; .*$/, ''],
  [/\. (?:Make (?:it|them) as binder\.describe\(\) says|Start once with provision|Create the topic first).*$/, ''],
]
/** Errors about wrong names, without their advice. */
const NOT_THERE =
  /(?:is missing(?: \(.*\)| on \w+)?|does not exist|has no group .*|does not host this topic-partition)$/
/** Destinations with copies that wait for their next attempt. */
const NO_RETRIES = /\.retry" (?:is missing|does not exist)/
const TO_CHANNEL = ': this group has no retry channel, which --to group needs. Give --to channel'
const GROUPS = '. Check CHANNEL and GROUP: npx concordat lag lists the groups that are known'

const HERE: Readonly<Record<string, string>> = {
  'operate.transport_missing':
    '. Here: --kafka HOST:PORT, or --rabbitmq URL, or --schema NAME where the log is, or --postgres URL of the database that has it',
  'operate.store_missing': '. Here: --redis URL, or --schema NAME where they are',
}

/** @param said the error's message, one line */
export function forOperators(error: unknown, said: string): string {
  const bare = ADVICE.reduce((text, [advice, instead]) => text.replace(advice, instead), said)
  const { code } = (error ?? {}) as { readonly code?: unknown }
  if (code === 'binder.transport' && NO_RETRIES.test(bare)) return `${bare}${TO_CHANNEL}`
  if (code === 'binder.transport' && NOT_THERE.test(bare)) return `${bare}${GROUPS}`
  return `${bare}${HERE[String(code)] ?? ''}`
}

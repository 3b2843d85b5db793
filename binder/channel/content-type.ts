/** Selects the codec of a message by its content type, if the channel uses it. */
import { type Codec, CodecError } from '../../core/codec.ts'
import type { EncodedMessage } from './message.ts'

/** Content type that says nothing: "some bytes". */
const UNSAID = 'application/octet-stream'

interface Readers {
  readonly name: string
  readonly codec: Codec<unknown>
  readonly reads?: readonly Codec<unknown>[] | undefined
}

/**
 * Returns the codec for a message of a channel with `reads`, or whose codec has an `accepts`. Messages without a content type,
 * mostly foreign ones, are read with the channel's own.
 * @throws CodecError when none reads it
 */
export function codecFor(channel: Readers, { contentType, id }: EncodedMessage): Codec<unknown> {
  if (contentType === '') return channel.codec
  const codecs = [channel.codec, ...(channel.reads ?? [])]
  const codec = codecs.find((each) => reads(each, contentType))
  if (codec !== undefined) return codec
  if (mediaType(contentType) === UNSAID) return channel.codec
  const known = codecs.map((each) => each.contentType).join(', ')
  throw new CodecError(
    contentType,
    `message ${id} on "${channel.name}" is "${contentType}" and the channel reads ${known}: add its codec to \`reads\``,
  )
}

/** Compares media types without their parameters; `application/vnd.order+json` is JSON. */
function reads(codec: Codec<unknown>, contentType: string): boolean {
  if (codec.accepts !== undefined) return codec.accepts(contentType)
  const own = mediaType(codec.contentType)
  const its = mediaType(contentType)
  const suffix = its.lastIndexOf('+')
  return its === own || (suffix > 0 && own === `application/${its.slice(suffix + 1)}`)
}

function mediaType(contentType: string): string {
  const end = contentType.indexOf(';')
  return (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase()
}

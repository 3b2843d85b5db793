/** Which codec reads a message: the content type says, where the channel cares. */
import { type Codec, CodecError } from '../../core/codec.ts'
import type { EncodedMessage } from './message.ts'

/** Says as little as nothing: "some bytes". */
const UNSAID = 'application/octet-stream'

interface Readers {
  readonly name: string
  readonly codec: Codec<unknown>
  readonly reads?: readonly Codec<unknown>[] | undefined
}

/**
 * The codec for a message of a channel with `reads`, or whose codec has an `accepts`. What has no content type, foreign
 * messages above all, is read with the channel's own.
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

/** The same media type whatever its parameters; `application/vnd.order+json` is JSON. */
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

// Server frames of RFC 6455 5.2: unmasked, unfragmented.

/** Bytes of a whole frame around a payload of this length. */
export function wsFrameLength(payloadLength: number): number {
  return payloadLength + (payloadLength < 126 ? 2 : payloadLength < 65_536 ? 4 : 10)
}

/** Writes the header for a payload of this length; returns the offset after it. Opcode 1 is text, 2 binary. */
export function writeWsFrameHeader(target: Uint8Array, offset: number, opcode: 1 | 2, length: number): number {
  target[offset++] = 0x80 | opcode
  if (length < 126) {
    target[offset++] = length
    return offset
  }
  if (length < 65_536) {
    target[offset++] = 126
    target[offset++] = length >>> 8
    target[offset++] = length & 255
    return offset
  }
  target[offset++] = 127
  const high = Math.floor(length / 0x1_0000_0000)
  for (let shift = 24; shift >= 0; shift -= 8) target[offset++] = (high >>> shift) & 255
  for (let shift = 24; shift >= 0; shift -= 8) target[offset++] = (length >>> shift) & 255
  return offset
}

/** One frame in an array of its own. */
export function wsFrame(opcode: 1 | 2, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(wsFrameLength(payload.length))
  frame.set(payload, writeWsFrameHeader(frame, 0, opcode, payload.length))
  return frame
}

// Counts how often a marker occurs in a stream of chunks, also where a chunk cuts it: an answer is counted, not parsed.

export function createMarkerCounter(marker: Buffer): (chunk: Buffer) => number {
  let tail: Buffer = Buffer.alloc(0)
  return (chunk) => {
    let count = 0
    if (tail.length > 0) {
      // Only an occurrence that begins in the tail: the others are found in the chunk.
      const seam = Buffer.concat([tail, chunk.subarray(0, marker.length - 1)])
      for (let at = seam.indexOf(marker); at >= 0 && at < tail.length; at = seam.indexOf(marker, at + 1)) count++
    }
    for (let at = chunk.indexOf(marker); at >= 0; at = chunk.indexOf(marker, at + marker.length)) count++
    const keep = marker.length - 1
    tail =
      chunk.length >= keep
        ? Buffer.from(chunk.subarray(chunk.length - keep))
        : Buffer.concat([tail, chunk]).subarray(-keep)
    return count
  }
}

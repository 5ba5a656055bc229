// The stream of NATS that `arqonbus projector` reads.

/** Where producers publish; the stream that keeps it is made where there is none. */
export const episodeSubject = 'continuum.episode.v1'
export const episodeStream = 'CONTINUUM_EPISODES'

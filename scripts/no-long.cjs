// In place of the package "long", which protobufjs takes for 64-bit numbers if it is there: without it they are plain numbers,
// and marker.ts refuses those that a number cannot hold.
module.exports = null;

// Returns each message as it is.
export default (message) => message;

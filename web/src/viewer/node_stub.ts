/** Stands in for node modules that codecs only ask for outside of a browser. */
export default {};

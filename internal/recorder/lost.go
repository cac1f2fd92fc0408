package recorder

// Lost tells what of the recording's names was found to be lost when it was opened: the events are there, and marks stand in the
// place of names. Other damage is told by the questions that meet it.
func (r *Recording) Lost() (told []error) {
	for _, d := range r.reader.Damages() {
		if d.Names() {
			told = append(told, d)
		}
	}
	return told
}

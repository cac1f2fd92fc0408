package capture

const childRing = "PASTCONE_TEST_RING"

func child(string) {}

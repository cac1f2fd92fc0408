package runtime

func pastconePid() int32 { return int32(getpid()) }

package gost

// id-tc26-gost-3410-12-512-paramSetA (RFC 7836 §A.1): p = 2^512 − 569, a = −3, cofactor 1.
var (
	b512 = field512{0x503190785a71c760, 0x862ef9d4ebee4761, 0x4cb4574010da90dd, 0xee3cb090f30d2761, 0x79bd081cfd0b6265, 0x34b82574761cb0e8, 0xc1bd0b2b6667f1da, 0xe8c2505dedfc86dd}
	g512 = affine512{
		x: field512{3},
		y: field512{0x89a589cb5215f2a4, 0x8028fe5fc235f5b8, 0x3d75e6a50e3a41e9, 0xdf1626be4fd036e9, 0x778064fdcbefa921, 0xce5e1c93acf1abc1, 0xa61b8816e25450e6, 0x7503cfe87a836ae3},
	}
	order512 = order{
		words: 8,
		q:     scalar{0xcacdb1411f10b275, 0x9b4b38abfad2b85d, 0x6ff22b8d4e056060, 0x27e69532f48d8911, 0xffffffffffffffff, 0xffffffffffffffff, 0xffffffffffffffff, 0xffffffffffffffff},
		c:     scalar{0x35324ebee0ef4d8b, 0x64b4c754052d47a2, 0x900dd472b1fa9f9f, 0xd8196acd0b7276ee},
	}
)

// id-GostR3410-2001-CryptoPro-A-ParamSet (RFC 4357 §11.4): p = 2^256 − 617, a = −3, cofactor 1.
var (
	b256 = field256{166}
	g256 = affine256{
		x: field256{1},
		y: field256{0x22acc99c9e9f1e14, 0x35294f2ddf23e3b1, 0x27df505a453f2b76, 0x8d91e471e0989cda},
	}
	order256 = order{
		words: 4,
		q:     scalar{0x45841b09b761b893, 0x6c611070995ad100, 0xffffffffffffffff, 0xffffffffffffffff},
		c:     scalar{0xba7be4f6489e476d, 0x939eef8f66a52eff},
	}
)

// combBlocks tables of combPoints points: 128 KiB for a key of 512 bits, 64 KiB for 256.
const (
	combBlocks = 8
	combPoints = 1 << 7
)

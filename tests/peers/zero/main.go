// A server that hands its listener over as zero-downtime does (github.com/aojea/zero-downtime,
// server.go): the same bytes, the same order, the same times, the same ways to fail, over Go's own
// net package. Written for the tests; only the address, the path and what it serves are told to it.
//
//	zero PATH ADDRESS VERSION
//
// It answers / and /version with VERSION, /pid with its process id, and /slow after 300 ms.
package main

import (
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// The connection on which it asked for the listener.
var asked net.Conn

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: zero PATH ADDRESS VERSION")
	}
	path := os.Args[1]
	if err := run(path, os.Args[2], os.Args[3]); err != nil {
		// As the original does, whoever listens there.
		syscall.Unlink(path)
		log.Fatal(err)
	}
	log.Println("Exiting")
}

func run(path, address, version string) error {
	listener, err := open(path, address)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- http.Serve(listener, pages(version)) }()
	// The very descriptor, never a duplicate of it.
	number, err := descriptor(listener.(*net.TCPListener))
	if err != nil {
		return err
	}
	given := make(chan error, 1)
	go func() {
		for exists(path) {
			log.Println("waiting until the one before leaves")
			time.Sleep(time.Second)
		}
		given <- give(path, number)
	}()
	select {
	case err := <-given:
		log.Println("Gracefully stopping")
		time.Sleep(5 * time.Second)
		return err
	case err := <-served:
		log.Println("http server:", err)
		return nil
	}
}

func open(path, address string) (net.Listener, error) {
	if !exists(path) {
		return net.Listen("tcp", address)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	// Open for as long as it serves, as there.
	asked = conn
	file, err := conn.(*net.UnixConn).File()
	if err != nil {
		return nil, err
	}
	// For the benchmark; nothing that the other side sees.
	fmt.Fprintf(os.Stderr, "asked at %d\n", time.Now().UnixNano())
	if _, err := conn.Write([]byte("ZERO")); err != nil {
		return nil, err
	}
	control := make([]byte, syscall.CmsgSpace(4))
	// No bytes are asked for, and none is looked at.
	if _, _, _, _, err := syscall.Recvmsg(int(file.Fd()), nil, control, 0); err != nil {
		return nil, err
	}
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	if len(messages) == 0 {
		return nil, errors.New("no descriptor came")
	}
	numbers, err := syscall.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	return net.FileListener(os.NewFile(uintptr(numbers[0]), "listener"))
}

// Waits for one that says ZERO. An error means that nobody can take over any more.
func give(path string, number int) error {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	if err := os.Chmod(path, 0777); err != nil {
		return err
	}
	for {
		// One at a time: whoever connects and is silent holds up the others.
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		buffer := make([]byte, 1024)
		size, err := conn.Read(buffer)
		if err != nil {
			conn.Close()
			continue
		}
		if string(buffer[:size]) != "ZERO" {
			log.Println("unexpected connection")
			conn.Close()
			continue
		}
		socket, err := descriptor(conn.(*net.UnixConn))
		if err != nil {
			conn.Close()
			continue
		}
		// Without bytes; the package adds the one zero byte that descriptors need.
		if err := syscall.Sendmsg(socket, nil, syscall.UnixRights(number), nil, 0); err != nil {
			conn.Close()
			return err
		}
		conn.Close()
		listener.Close()
		return nil
	}
}

func pages(version string) http.Handler {
	mux := http.NewServeMux()
	say := func(text string, pause time.Duration) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(pause)
			w.Header().Set("X-Version", version)
			fmt.Fprint(w, text)
		}
	}
	mux.HandleFunc("/", say(version+"\n", 0))
	mux.HandleFunc("/version", say(version, 0))
	mux.HandleFunc("/pid", say(fmt.Sprint(os.Getpid()), 0))
	mux.HandleFunc("/slow", say("slow\n", 300*time.Millisecond))
	return mux
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func descriptor(of syscall.Conn) (number int, err error) {
	raw, err := of.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = raw.Control(func(fd uintptr) { number = int(fd) })
	return number, err
}
